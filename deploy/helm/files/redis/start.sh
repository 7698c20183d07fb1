# Starts Redis with the password of the mounted Secret. Only its hash is written, into memory or an emptyDir.
set -eu
umask 077
. /etc/redis/password.sh
hash=$(password_hash)
printf 'user default on #%s ~* &* +@all\n' "$hash" > /data/users.acl
exec redis-server /etc/redis/redis.conf
