source <(tqctl completion bash)
