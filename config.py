"""What pyinfra reads before an inventory, when it is called from this directory."""

from deploy.pyinfra_inventory import refuse_bad_inventories

refuse_bad_inventories()
