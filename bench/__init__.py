"""`make bench`: what a deployment costs, beside the same stack deployed by Ansible."""
