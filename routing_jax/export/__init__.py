"""Networks of single tasks, and without unused blocks, cut out of trained ones."""
