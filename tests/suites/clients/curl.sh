# curl, with its report of heads, bodies and connections: `curl.sh URL DIRECTORY`.
url=$1 out=$2
printf 'hello, world\n' >"$out/.body"
head -c 1048576 /dev/zero | tr '\0' 'x' >"$out/.megabyte"
big=$(head -c 6000 /dev/zero | tr '\0' 'b')

# ask NAME ARGUMENTS...: records the heads of all answers, then the body, then curl's exit code.
ask() {
    local name=$1
    shift
    curl --silent --include --max-time 20 --user-agent curl "$@" >"$out/$name" 2>&1
    echo "exit $?" >>"$out/$name"
}

ask get "$url/echo?a=1&b=%20"
ask get-http10 --http1.0 "$url/echo"
ask post-length --data-binary "@$out/.body" "$url/echo"
ask post-chunked --header "Transfer-Encoding: chunked" --data-binary "@$out/.body" "$url/echo"
ask put-1mb --upload-file "$out/.megabyte" --header "Expect:" "$url/echo"
ask expect --header "Expect: 100-continue" --data-binary "@$out/.body" "$url/echo"
ask expect-refused --header "Expect: 100-continue" --data-binary "@$out/.body" "$url/forbidden"
ask redirect --location "$url/redirect"
ask gzip --compressed "$url/gzip"
ask gzip-raw --header "Accept-Encoding: gzip" "$url/gzip"
ask cookies --location --cookie "" "$url/cookies"
ask fields "$url/fields"
ask range --range 10-19 "$url/range"
ask head --head "$url/large"
ask large "$url/large"
ask not-found "$url/none"
ask chunked "$url/chunked"
ask until-close "$url/close"
ask early-hints "$url/hints"
ask unchanged --header 'If-None-Match: "v1"' "$url/unchanged"
ask empty "$url/empty"
ask big-field --header "X-Big: $big" "$url/big"
ask options --request OPTIONS "$url/echo"
ask delete --request DELETE "$url/echo"
ask kept --write-out "connections: %{num_connects}\n" "$url/echo?1" "$url/chunked" "$url/empty" "$url/echo?2"
