# Asks the hub something from this host, and prints the answer as it came: status, headers, body.
#
#   sh -c "$(cat hub.sh)" atelier GET|HEAD URL
#
# Standard input: the token, or an empty line; then environment variables, a line each (NAME=value), e.g. of a proxy.
# Without an answer it prints a line that starts with "failed".
set -eu
export LC_ALL=C
method=$1 url=$2
token=
IFS= read -r token || true
while IFS= read -r line || [ -n "$line" ]; do
  if [ -n "$line" ]; then export "${line?}"; fi
done

if command -v curl >/dev/null 2>&1; then
  set -- --silent --show-error --include --suppress-connect-headers --connect-timeout 10 --max-time 60 --config -
  if [ "$method" = HEAD ]; then set -- "$@" --head; else set -- "$@" --location; fi
  config=
  if [ -n "$token" ]; then config="header = \"Authorization: Bearer $(printf '%s' "$token" | sed 's/[\\"]/\\&/g')\""; fi
  said=$(printf '%s\n' "$config" | curl "$@" "$url" 2>&1) || said="failed $(printf '%s\n' "$said" | sed -n '/^curl:/{p;q;}')"
  printf '%s\n' "$said" | tr -d '\r'
  exit 0
fi
if command -v python3 >/dev/null 2>&1; then
  export ATELIER_TOKEN="$token"
  exec python3 -c '
import os, sys, urllib.error, urllib.request
class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None
method, url = sys.argv[1:]
request = urllib.request.Request(url, method=method)
token = os.environ.pop("ATELIER_TOKEN")
if token:
    request.add_unredirected_header("Authorization", "Bearer " + token)
opener = urllib.request.build_opener(*[Stay] if method == "HEAD" else [])
try:
    answer = opener.open(request, timeout=60)
except urllib.error.HTTPError as error:
    answer = error
except Exception as error:
    sys.exit(print("failed", getattr(error, "reason", error)))
print("HTTP/1.1", answer.status)
for name, value in answer.headers.items():
    print(name + ": " + value)
print()
print(answer.read().decode("utf-8", "replace"))
' "$method" "$url"
fi
echo "failed neither curl nor python3 is there to ask with"
