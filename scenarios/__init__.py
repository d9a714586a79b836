"""The lab's exhibits: small programs of several processes, each bug beside its fix.

One file is one family. Every scenario in it is plain code that runs without the lab as well; it
takes from the lab only the decorator that declares it and the words for what came out.
"""
