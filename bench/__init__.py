"""`make bench`: what a deployment costs, next to the same stack deployed by Ansible."""
