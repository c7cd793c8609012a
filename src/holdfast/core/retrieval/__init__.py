"""Finding rows of memory: words, an index over words and vectors, and the order in which rows are put forward
(``spec/recall.md`` §2). Pure, and in need of numpy, which ``holdfast[node]`` brings."""
