"""The reference: every figure of the contract once more, slowly and obviously, with other libraries.

Here: plain loops over plain rows (Decimal, pandas, scikit-learn, scipy), written from the contract's text alone, to
check the product against. Not here: anything imported from the product; anything fast."""
