# Fails when Redis does not answer, or when it was started with another password than the Secret has now.
set -eu
. /etc/redis/password.sh
hash=$(password_hash)
grep -q "#$hash " /data/users.acl
redis-cli -h 127.0.0.1 ping > /dev/null
