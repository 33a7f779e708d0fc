"""The store, and what is in it: trained teachers, their answers, trained students. Stages and studies share it."""
