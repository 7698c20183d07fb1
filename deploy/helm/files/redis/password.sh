# The hash of the password that the Secret has now; an empty password is an error.
password_hash() {
  password=$(cat /etc/redis-auth/password)
  password=${password%"$(printf '\r')"}
  if [ -z "$password" ]; then
    echo "the password is empty: set it in the Secret of redis.existingSecret" >&2
    return 1
  fi
  printf %s "$password" | sha256sum | cut -d ' ' -f 1
}
