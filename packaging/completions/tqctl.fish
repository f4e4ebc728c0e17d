tqctl completion fish | source
