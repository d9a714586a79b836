"""What the whole test suite shares. The fixture `observe` comes from the installed plugin."""

pytest_plugins = ["pytester"]
