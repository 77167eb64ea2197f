"""Who wrote which of scikit-learn's 1,797 scans of digits, and which writers train, validate and
test.

The scans stand in blocks, a writer after the other; the boundaries were found by the scikit-learn
MOOC.
"""

WRITER_BLOCKS = (0, 130, 256, 386, 516, 646, 776, 915, 1029, 1157, 1287, 1415, 1545, 1667, 1797)
SPLITS = {"train": range(0, 10), "validation": range(10, 12), "test": range(12, 14)}  # blocks
