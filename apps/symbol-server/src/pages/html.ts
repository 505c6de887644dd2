// HTML as text: the escape, and the frame that all pages share. No scripts, no assets, light and dark by the reader's
// own setting.

const escapes: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (letter) => escapes[letter]!);
}

export function pageHtml(title: string, body: string): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${style}</style>
${body}
</html>
`;
}

const style = `
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 15%, transparent); --accent: #2f6fdb }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1.5rem }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem }
header { display: flex; gap: 1rem; align-items: baseline; flex-wrap: wrap; margin-bottom: 1.5rem }
a { color: var(--accent) } code, .mono { font-family: ui-monospace, monospace; font-size: .85em }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .75rem }
.tile { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem }
.tile b { display: block; font-size: 1.35rem; font-weight: 600; overflow-wrap: anywhere }
.quiet { opacity: .65 } .ok { color: #1a8a4a } .bad { color: #c43a31 }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .35rem .6rem; vertical-align: top }
th { font-weight: 600; border-bottom: 1px solid var(--line) } td { border-bottom: 1px solid var(--line); overflow-wrap: anywhere }
.scroll { overflow-x: auto } form { display: flex; gap: .5rem; margin: 1rem 0 }
input { font: inherit; flex: 1; min-width: 0; padding: .4rem .6rem; border: 1px solid var(--line); border-radius: .4rem; background: none; color: inherit }
button { font: inherit; padding: .4rem 1rem; border: 0; border-radius: .4rem; background: var(--accent); color: #fff }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; padding: .5rem .8rem }
summary { cursor: pointer } pre { overflow-x: auto; padding: .6rem; border: 1px solid var(--line); border-radius: .4rem }
.method { display: inline-block; min-width: 3.2rem; font-weight: 600; color: var(--accent) }
`;
