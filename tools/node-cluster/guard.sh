# Stage: processes. Input: how the markers of one run begin, and a pipe whose other end its owner holds. Output: once the owner is gone, none of its processes is left.
read -r _
for environment in /proc/[0-9]*/environ; do
  if grep -qzF -- "$1" "$environment" 2>/dev/null; then
    pid=${environment#/proc/}
    kill -KILL "${pid%/environ}" 2>/dev/null
  fi
done
exit 0
