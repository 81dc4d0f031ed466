"""Adapters: from a golden case to a call of kdjax, one file per family.

Each public function has the name of a `method` in the golden cases. It returns
the outputs of a case by name, differentiable with respect to the inputs:

  def kd(case: Case) -> dict[str, Array]

It uses the hyperparameters and input names of a case, never its id, so that it
also runs on new cases. Where two public codes of one method differ in nothing
else, it looks at which code a case is of.
"""
