"""How things run, never what is computed: command line, child processes, torchrun, progress."""
