# wget: `wget.sh URL DIRECTORY`.
url=$1 out=$2
printf 'hello, world\n' >"$out/.body"

ask() {
    local name=$1
    shift
    wget --quiet --tries 1 --timeout 20 --user-agent wget --save-headers --content-on-error \
        --output-document - "$@" >"$out/$name" 2>&1
    echo "exit $?" >>"$out/$name"
}

ask get "$url/echo?a=1"
ask post-length --post-file "$out/.body" "$url/echo"
ask put --method PUT --body-file "$out/.body" "$url/echo"
ask redirect "$url/redirect"
ask cookies "$url/cookies"
ask fields "$url/fields"
ask gzip --compression gzip "$url/gzip"
ask range --header "Range: bytes=10-19" "$url/range"
ask head --method HEAD --server-response "$url/echo"
ask large "$url/large"
ask not-found "$url/none"
ask chunked "$url/chunked"
ask until-close "$url/close"
ask early-hints "$url/hints"
ask kept "$url/echo?1" "$url/echo?2" "$url/chunked"
