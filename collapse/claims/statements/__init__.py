"""What a claim of a study may say: a file for each kind of sentence, which is judged there on the study's records.

A claim is one of these sentences, word for word (``[…]`` may be left out, ``a|b`` is a choice)::

    SERIES leaves the control band [below|above] [by generation N]
    SERIES stays inside the control band [until generation N]
    SERIES < SERIES|NUMBER [at generation N]        likewise >; SERIES + NUMBER or SERIES - NUMBER on the right
    SERIES falls|rises [by more than MARGIN] [until generation N] [at P %]
    SERIES does not fall|rise by more than MARGIN [until generation N] [at P %]
    SERIES keeps within MARGIN [until generation N] [at P %]
    SERIES [falls|rises and] levels off within MARGIN [until generation N] [at P %]
    SERIES amplifies|corrects its bias [around NUMBER] [from generation M] [until generation N]
    SERIES keeps its bias within NUMBER % [around NUMBER] [from generation M] [until generation N]
    BRANCH reaches|avoids early|late|distorted|drifted [by generation N]
    BRANCH warns before late
    BRANCH is STAGE in [at least] P % of cells
    sources compound
    capacity cuts both ways

    SERIES = [mean] BRANCH.METRIC or BRANCH.METRIC[FEATURE]
    MARGIN = NUMBER in the metric's own units, or NUMBER % of where the series begins

N left out means the branch's last generation, M its first; P is a one-sided level, 95 if left out. A law is claimed
by a mapping: ``{law: NAME, branch: BRANCH, feature: FEATURE, source: …}``, of which ``feature`` and ``source`` may be
left out.

A claim **holds** if the data would speak as clearly for it in at most 5 % (100 − P %) of cases were it false,
**fails** if they speak so clearly against it, and is **undecided** otherwise. It is **blind** if nothing that could
be measured would have refuted it. So each of the two is wrong at most as often as its level says
(:mod:`collapse.stats`):

- Replicates count as one path each: their **median** is judged by the sign test, right at any R and for any
  distribution; at 95 % it needs R ≥ 5. Between two series it is the median of paired differences, which is not the
  difference of medians. ``mean`` must be asked for, and is undecided where few paths carry it.
- A series *falls* if, in the median, a path ends below where it began, and also its Theil–Sen slope is below 0 (more
  pairs of generations fall than rise); 1 → 5 → 2 does not. *By more than* a margin: its end is lower by more than
  that.
- *Does not rise by more than* and *keeps within* a margin are equivalence statements: at every generation the change
  since the first is shown to be within it (two one-sided tests, Schuirmann 1987; all must pass, so none is corrected
  for). More confidence makes them harder. One data set never both rises by more than a margin and does not.
- A series *levels off* within a margin if it changes by more than that until the middle of its generations, and is
  from there on shown to keep within it.
- A *band* claim is judged on the median over replicates against the calibrated control band, whose level is
  family-wise: 1 % over ``cells`` looks together. It *leaves* where the median is outside. It *stays inside* where
  that is shown: the median's bounds lie inside at every generation.
- A *bias* claim is judged on the mean over replicates less the truth (:mod:`collapse.claims.gain`), and on what of it
  is left at N of what there was at M. *Amplifies*: more, in the same direction. *Corrects*: less, in either. *Keeps
  within* 10 %: from 0.9 to 1.1 of it in all, not per generation. The truth is the metric's ideal, or the number after
  ``around`` where that depends on the data.
- *Sources compound* and *capacity cuts both ways* are of a study's ``factors`` and ``ladder``
  (:mod:`collapse.claims.attribution`): with all sources of error on, the distance grows by more than what they do
  alone; some capacity between them ends nearer than both the least and the greatest.
- A *stage* claim is counted, cell by cell: a cell is one replicate at one generation.
- A value that is no number, or is missing, lies below every band, as in stages; elsewhere it counts on neither side.
- What the records cannot tell (a halted branch, too few replicates, no calibration) is undecided.
"""
