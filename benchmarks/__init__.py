"""What the lab is measured with. Run from a checkout: no part of the installed package."""
