"""All statistics of tool calling, evals and comparisons. Pure functions of counts and scores.

    distributions   probabilities and quantiles, and where a function is zero
    estimators      pass@k, pass^k, maj@k, percentiles, bootstrap errors
    intervals       confidence intervals of rates and medians
    rates           tests of rates against what a model causes
    mean_scores     mean scores, and their noise between runs of the same questions
    differences     differences of scores and rates, their tests and corrections
    two_rates       the decision on tool calling: its rate, single cases, the guide's rule
    noninferiority  the decision against a baseline: margin, power, sequential looks
    recurrence      the tries that tell a fixed defect from a rarer one
    model_equality  whether two sets of texts come from the same model

Scores are one sequence per question, with one score per try. A *question* is a test case or a row
of a dataset (the word sample would be ambiguous here). Questions are clusters, and tries are
repeats inside them (Miller 2024, arXiv 2411.00640). Two kinds of uncertainty result:

- How good is the model at problems of this kind? The questions are a random sample of such
  problems, so the interval covers the variance between questions: `mean_score`.
- Is this provider as good as another? Both answer the same questions, so only the variance between
  tries counts: `run_mean`, `differences` and `noninferiority`. A question that is always or never
  solved does not add to it.

numpy is imported inside functions, because a process that samples does not need it. scipy is only
used by tests, which compare `distributions` with it: it takes 115 MB on disk and up to 0.85 s to
import. statsmodels is not used: its Newcombe interval uses Wilson's bounds without clusters, and
its Mantel-Haenszel test is asymptotic.
"""
