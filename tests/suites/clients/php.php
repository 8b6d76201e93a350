<?php
// PHP: its own stream client (HTTP/1.1) and its curl: `php.php URL DIRECTORY`.

[, $url, $out] = $argv;
const BODY = "hello, world\n";

function stream(string $name, string $path, array $options = []): void
{
    global $url, $out;
    $defaults = ['protocol_version' => '1.1', 'ignore_errors' => true, 'timeout' => 20];
    $context = stream_context_create(['http' => $options + $defaults]);
    $body = @file_get_contents($url . $path, false, $context);
    file_put_contents("$out/stream-$name", implode("\n", $http_response_header ?? []) . "\n\n" . $body);
}

function curl(string $name, string $path, array $options = []): void
{
    global $url, $out;
    static $handle = null;
    $handle ??= curl_init();
    curl_reset($handle);
    $defaults = [CURLOPT_URL => $url . $path, CURLOPT_HEADER => true, CURLOPT_RETURNTRANSFER => true,
        CURLOPT_TIMEOUT => 20];
    curl_setopt_array($handle, $options + $defaults);
    $answer = curl_exec($handle);
    $made = curl_getinfo($handle, CURLINFO_NUM_CONNECTS);
    file_put_contents("$out/curl-$name", $answer . curl_error($handle) . "\nconnections: $made\n");
}

stream('get', '/echo?a=1');
stream('get-http10', '/echo', ['protocol_version' => '1.0']);
$form = ['method' => 'POST', 'header' => 'Content-Type: application/x-www-form-urlencoded'];
stream('post-length', '/echo', ['content' => 'a=1&b=2'] + $form);
stream('put-1mb', '/echo', ['method' => 'PUT', 'content' => str_repeat('x', 1 << 20)] + $form);
stream('redirect', '/redirect');
stream('gzip', '/gzip', ['header' => 'Accept-Encoding: gzip']);
stream('cookies', '/cookies', ['header' => 'Cookie: a=1']);
stream('fields', '/fields');
stream('range', '/range', ['header' => 'Range: bytes=10-19']);
stream('head', '/large', ['method' => 'HEAD']);
stream('large', '/large');
stream('not-found', '/none');
stream('chunked', '/chunked');
stream('until-close', '/close');
stream('big-field', '/big', ['header' => 'X-Big: ' . str_repeat('b', 6000)]);

curl('get', '/echo?a=1');
curl('post-length', '/echo', [CURLOPT_POSTFIELDS => 'a=1&b=2']);
curl('post-chunked', '/echo', [CURLOPT_POSTFIELDS => BODY,
    CURLOPT_HTTPHEADER => ['Transfer-Encoding: chunked']]);
curl('put-1mb', '/echo', [CURLOPT_CUSTOMREQUEST => 'PUT', CURLOPT_POSTFIELDS => str_repeat('x', 1 << 20),
    CURLOPT_HTTPHEADER => ['Expect:']]);
curl('redirect', '/redirect', [CURLOPT_FOLLOWLOCATION => true]);
curl('gzip', '/gzip', [CURLOPT_ENCODING => '']);
curl('cookies', '/cookies', [CURLOPT_FOLLOWLOCATION => true, CURLOPT_COOKIEFILE => '']);
curl('fields', '/fields');
curl('head', '/large', [CURLOPT_NOBODY => true]);
curl('not-found', '/none');
curl('chunked', '/chunked');
curl('until-close', '/close');
curl('empty', '/empty');
