"""The ground floor: errors, files, tables, labels, random streams, and where every artefact is."""
