//! One request of a browser and one answer, in their most common form.

/// 700 bytes and 14 fields, to a node in the next room.
pub(crate) const REQUEST: &str = "\
    GET /blog/2024/cluster?id=42&sort=new HTTP/1.1\r\n\
    Host: picluster.local\r\n\
    Connection: keep-alive\r\n\
    Cache-Control: max-age=0\r\n\
    DNT: 1\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux aarch64) AppleWebKit/537.36 (KHTML, like Gecko) \
    Chrome/131.0.0.0 Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,\
    image/apng,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Sec-Fetch-Mode: navigate\r\n\
    Sec-Fetch-Dest: document\r\n\
    Referer: http://picluster.local/blog/2024/\r\n\
    Accept-Encoding: gzip, deflate\r\n\
    Accept-Language: en-GB,en-US;q=0.9,en;q=0.8,de;q=0.7\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark; seen=2024-11-24; visits=120345; lang=en-GB\r\n\
    \r\n";

/// The head that nginx sends before a page.
pub(crate) const ANSWER: &str = "\
    HTTP/1.1 200 OK\r\n\
    Server: nginx/1.26.2\r\n\
    Date: Sun, 24 Nov 2024 08:53:45 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\n\
    Content-Length: 18734\r\n\
    Connection: keep-alive\r\n\
    Vary: Accept-Encoding\r\n\
    ETag: \"6742e8c9-492e\"\r\n\
    Cache-Control: public, max-age=60\r\n\
    X-Content-Type-Options: nosniff\r\n\
    Accept-Ranges: bytes\r\n\
    \r\n";
