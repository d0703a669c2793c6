"""The asset graph: thin.

Here: one file a table, each reads, computes, writes, tells. Not here: figures (core/), SQL (store/), what starts a night
(automation/)."""
