"""An Azure ML online endpoint over plain ARM: reading, traffic, tags, deployments, keys, autoscale rules."""
