// A look costs no flicker, unlike a reload; and what is loaded at last is got, however we came here.
setInterval(async () => {
  try {
    const answer = await fetch(location.href, { headers: { Accept: 'text/html' }, cache: 'no-store' });
    const text = await answer.text();
    if (!text.includes(`<title>${document.title}</title>`)) location.replace(location.pathname + location.search);
  } catch { /* the balancer starts again; asked again in a moment */ }
}, 500);
