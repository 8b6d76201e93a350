# ab, which speaks HTTP/1.0, with and without -k: `ab.sh URL DIRECTORY`. Its counts must agree;
# `Total transferred` differs by the fields that a balancer adds.
url=$1 out=$2
printf 'hello, world\n' >"$out/.body"

ask() {
    local name=$1
    shift
    ab -q -s 20 -n 60 -c 3 "$@" 2>&1 |
        grep -E '^(Complete|Failed|Non-2xx|Write errors|Keep-Alive|HTML transferred|Document Length|Server Software|apr_)' \
            >"$out/$name"
}

for kept in "" -k; do
    ask "get$kept" $kept "$url/big"
    ask "large$kept" $kept "$url/large"
    ask "chunked$kept" $kept "$url/chunked"
    ask "head$kept" $kept -i "$url/large"
    ask "post$kept" $kept -p "$out/.body" "$url/big"
    ask "not-found$kept" $kept "$url/none"
done
