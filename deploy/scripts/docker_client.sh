# What Docker's client would take from the environment of a host: proxies for --env NAME, a check of
# signatures that images from archives do not have, another platform than the host's.
unset HTTP_PROXY HTTPS_PROXY FTP_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy ftp_proxy all_proxy no_proxy
unset DOCKER_CONTENT_TRUST DOCKER_DEFAULT_PLATFORM
