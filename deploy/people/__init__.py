"""People, teams and keys of the router: what is declared, what there is, what changes.

LiteLLM 1.106.2's management API, read in its source (litellm/proxy/management_endpoints) and tried:
https://docs.litellm.ai/docs/proxy/virtual_keys, .../team_budgets, .../users, .../cost_tracking

- ``/team/new``, ``/team/update``, ``/team/delete``, ``/team/list``: ``team_id`` may be given;
  ``models``, ``max_budget``, ``budget_duration``, ``tpm_limit``, ``rpm_limit``, ``blocked``,
  ``metadata``. ``max_parallel_requests`` of a team is a column that nothing sets or looks at.
  Deleting a team deletes the keys in it.
- ``/user/new`` with ``auto_create_key: false``, ``/user/update``, ``/user/delete``, ``/user/list``
  (pages of at most 100). A user's own limits do not hold for keys of a team, so that a person's
  limits are those of their key. ``/team/member_add`` comes before a key moves to a team, which is
  refused otherwise; ``/team/member_delete`` deletes the person's keys in that team.
- ``/key/generate`` takes the value of the ``key``, which begins with ``sk-``; ``key_alias`` is
  unique. ``/key/update`` by hash: ``null`` takes a limit away; ``duration`` is in seconds from now,
  ``-1`` for ever.
  ``/key/block`` is told to the other routers through Valkey, as every change is, and
  ``/key/delete`` is not. ``/key/list`` with ``return_full_object`` (pages of at most 100) shows no
  key.
- ``/user/daily/activity`` and ``/team/daily/activity``: requests, tokens and spending of a day, by
  person, team and model.
- For a licence only, and not used here: ``/key/regenerate`` (a new key is made and the old one
  deleted instead), ``/global/spend/report``, team administrators, tags of keys, budgets of a model.
- A budget that is spent is answered with 422 unless ``budget_exceeded_status_code`` is 429.
"""
