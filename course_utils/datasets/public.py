"""What public data there are: addresses, hashes, licences and citations. `store` brings them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Item:
    """One download: a file, kept as it comes, or the files of an archive (zip, or
    tar packed by gzip) that become one folder.

    path      where it lies in the store
    address   where it comes from
    download  bytes to be transferred, about: archives are packed anew from time to time
    bytes     bytes of the content, unpacked
    sha256    of the content, because content does not change: of the unpacked file, or of the
              folder's lines
              "name sha256", sorted by name
    members   for an archive, a pattern that the names of its wanted files match, with the name to
              keep as group 1
    """

    path: str
    address: str
    download: int
    bytes: int
    sha256: str
    members: str = ""


@dataclass(frozen=True)
class DataSet:
    """A public data set: what it is, where its parts are, and what its makers ask for.

    `instead` are the same parts in another form, one for one: taken where all of them lie in the
    store and the items do not, and never downloaded.
    """

    title: str
    items: tuple[Item, ...]
    licence: str
    citation: str
    instead: tuple[Item, ...] = ()

    @property
    def megabytes(self) -> float:
        """Size of the download."""
        return sum(item.download for item in self.items) / 1e6


VADER = (
    "https://raw.githubusercontent.com/cjhutto/vaderSentiment"
    "/18c86513ea60b02fce8f3b1b598da43042d91b08/additional_resources/hutto_ICWSM_2014.tar.gz"
)
HUTTO = (
    "C. J. Hutto, E. Gilbert, VADER: a parsimonious rule-based model for sentiment analysis of"
    " social media text, ICWSM 2014"
)
EMOJI = "https://raw.githubusercontent.com/iamcal/emoji-data/v16.0.0"
MANIFEST = {
    "mnist": DataSet(
        "MNIST, the 10,000 test images of handwritten digits",
        (
            Item(
                "MNIST/raw/t10k-images-idx3-ubyte.gz",
                "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-images-idx3-ubyte.gz",
                1_648_877,
                7_840_016,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            ),
            Item(
                "MNIST/raw/t10k-labels-idx1-ubyte.gz",
                "https://ossci-datasets.s3.amazonaws.com/mnist/t10k-labels-idx1-ubyte.gz",
                4_542,
                10_008,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
        ),
        "CC BY-SA 3.0",
        "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document"
        " recognition, Proceedings of the IEEE 86(11), 1998",
    ),
    "fsdd": DataSet(
        "Free Spoken Digit Dataset v1.0.10, 3,000 recordings of six speakers",
        (
            Item(
                "fsdd/recordings",
                "https://github.com/Jakobovski/free-spoken-digit-dataset"
                "/archive/refs/tags/v1.0.10.zip",
                16_419_872,
                21_128_848,
                "dbd573d7cafe79c4b49f65718115e1304e24e067fa39eff18a660dc6cb9c360f",
                members=r"[^/]+/recordings/(\d_[a-z]+_\d+\.wav)",
            ),
        ),
        "CC BY-SA 4.0",
        "Z. Jackson, C. Souza, J. Flaks, Y. Pan, H. Nicolas, A. Thite, Free Spoken Digit Dataset,"
        " 2018, doi:10.5281/zenodo.1342401",
    ),
    # The hashes are those of the npm packages emoji-datasource-google and -twitter 16.0.0, which
    # are made from this tag.
    "emoji": DataSet(
        "Emoji of two artists, 1,636 concepts with names, from emoji-data 16.0.0",
        (
            Item(
                "emoji/sheets/emoji.json",
                f"{EMOJI}/emoji.json",
                1_313_457,
                1_313_457,
                "1d602e65be88772bf8cc368ce16b855d719eeddbafe128d471b80203f494d29f",
            ),
            Item(
                "emoji/sheets/google.png",
                f"{EMOJI}/sheet_google_64.png",
                13_842_666,
                13_842_666,
                "795a0c598d162c9a4aae23f2188c607b8c9bc1912cb7d84382459f8de91a3ae1",
            ),
            Item(
                "emoji/sheets/twitter.png",
                f"{EMOJI}/sheet_twitter_64.png",
                11_283_284,
                11_283_284,
                "daa7711b29897de6bd811a4cfeae911d8d8baa7f7e25c97d9b64354ae425ff5c",
            ),
        ),
        "names MIT; Noto pictures Apache-2.0; Twemoji pictures CC BY 4.0",
        "C. Henderson, emoji-data 16.0.0, 2025, github.com/iamcal/emoji-data; pictures: Noto Emoji,"
        " Google LLC, and Twemoji, Twitter, Inc. and other contributors",
        # the rows and pictures of these 1,636, each in a file of its own
        instead=(
            Item(
                "emoji/emoji.json",
                "",
                0,
                437_338,
                "4015fa0a9a47f84630e1469b9f15f5d43bbf0d0e880377984db7978ca289570d",
            ),
            Item(
                "emoji/google",
                "",
                0,
                5_272_215,
                "0afba8c234871f3c8f157777303192424979edd8663e94415fb810c3ad458519",
                members=r"([0-9a-f-]+\.png)",
            ),
            Item(
                "emoji/twitter",
                "",
                0,
                3_923_944,
                "e481e04b16ef1e6d925a4ddc85b7af9d1d55c9f7037598c0a0faf5196979827f",
                members=r"([0-9a-f-]+\.png)",
            ),
        ),
    ),
    "texts": DataSet(
        "Short texts with mean human ratings: 4,200 posts, 10,605 on films, 3,708 on products",
        (
            Item(
                "tweets",
                VADER,
                2_338_514,
                2_146_141,
                "67e2b359325b94b4eed28207aa268649d7d4a5bd9bf69eb6beb4f68297d1a387",
                members=r"hutto_ICWSM_2014/((?:amazon|movie|tweets)\w*_GroundTruth\.txt)",
            ),
        ),
        "MIT",
        HUTTO,
    ),
    "raters": DataSet(
        "The single ratings behind the means of the 4,200 posts, 20 to 99 people each",
        (
            Item(
                "raters",
                VADER,
                2_338_514,
                616_147,
                "3701b61b98f1f3b240c0336b5d24337b19e4f71271a09c85f7f042490707e461",
                members=r"hutto_ICWSM_2014/(tweets_anonDataRatings\.txt)",
            ),
        ),
        "MIT",
        HUTTO,
    ),
}
