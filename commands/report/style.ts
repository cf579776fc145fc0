/**
 * The style of a report: light and dark, wide, narrow and on paper.
 *
 * @module
 */

const LIGHT = `
  --paper:#fdfdfc; --card:#fff; --ink:#1b1e23; --muted:#5a626d; --grid:#e3e6ea; --line:#dfe3e8;
  --accent:#2557a3; --good:#1d6b42; --bad:#a8322c; --soft:#f3f5f8;
  --s1:#2f6fc4; --s2:#c8561b; --s3:#2b8a66; --s4:#9a4fa8; --s5:#a67c00; --s6:#c23b62; --s7:#4c6a78;
  --s8:#6b5bd2; --tile:#2f6fc4; --causal:#e6ebf2; --anchor:#c8561b; --block:#5a626d;`;
const DARK = `
  --paper:#14171b; --card:#1a1e24; --ink:#e7eaee; --muted:#a3acb8; --grid:#2c333c; --line:#2c333c;
  --accent:#8ab4f0; --good:#6fcf97; --bad:#f08a80; --soft:#20252c;
  --s1:#6ea8f5; --s2:#f09657; --s3:#5cc79c; --s4:#cf93dd; --s5:#dcb54a; --s6:#f0809f; --s7:#93b0bf;
  --s8:#a79bf5; --tile:#6ea8f5; --causal:#262d36; --anchor:#f09657; --block:#a3acb8;`;

/** The variables alone, for a picture that stands outside of a page. */
export const PICTURE_STYLE = `svg{${LIGHT};background:var(--paper)}
@media (prefers-color-scheme:dark){svg{${DARK}}}`;

/** The text of the page's `style` element. */
export const STYLE = `
:root{color-scheme:light;${LIGHT}}
@media (prefers-color-scheme:dark){:root:not([data-theme=light]){color-scheme:dark;${DARK}}}
:root[data-theme=dark]{color-scheme:dark;${DARK}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-behavior:smooth}
body{margin:0;background:var(--paper);color:var(--ink);
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,Helvetica,Arial,sans-serif}
.page{max-width:960px;margin:0 auto;padding:0 24px 80px}
header{padding:52px 0 10px}
h1{font-size:34px;line-height:1.15;letter-spacing:-.02em;margin:0 0 8px;text-wrap:balance}
h2{font-size:22px;letter-spacing:-.01em;margin:56px 0 4px}
h3{font-size:15px;margin:26px 0 8px}
p{margin:6px 0 14px;max-width:68ch}
.lead,.note,figcaption{color:var(--muted)}
.note,figcaption{font-size:14px}
code,pre,.mono{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;font-size:13px}
a{color:var(--accent)}
.bar{display:flex;gap:18px;align-items:center;flex-wrap:wrap;padding:12px 0;font-size:14px;
  border-bottom:1px solid var(--line);position:sticky;top:0;background:var(--paper);z-index:3}
.bar nav{display:flex;gap:16px;flex-wrap:wrap;flex:1}
.bar a{text-decoration:none;color:var(--muted)}
.bar a:hover,.bar a:focus-visible{color:var(--accent);text-decoration:underline}
button,select{font:inherit;font-size:14px;color:var(--ink);background:var(--card);
  border:1px solid var(--line);border-radius:8px;padding:5px 12px;cursor:pointer}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px;margin:26px 0 8px;
  padding:0;list-style:none}
.cards li{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 18px;
  border-top:3px solid var(--own)}
.cards b{display:block;font-size:28px;line-height:1.2;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.cards b small{font-size:15px;font-weight:500;color:var(--muted);letter-spacing:0}
.cards .name{font-size:13px;color:var(--muted);overflow-wrap:anywhere}
.cards dl{display:grid;grid-template-columns:auto 1fr;gap:1px 12px;margin:10px 0 0;font-size:13px}
.cards dt{color:var(--muted)}
.cards dd{margin:0;text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
figure{margin:16px 0 8px}
figcaption{margin-top:6px}
.chart{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px}
.chart svg{display:block;max-width:100%;height:auto;margin:0 auto}
.chart [data-tip]:hover{filter:brightness(1.15)}
.table{overflow-x:auto;border:1px solid var(--line);border-radius:12px;background:var(--card);margin:14px 0}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:7px 14px;text-align:right;white-space:nowrap;border-top:1px solid var(--line)}
thead th{border-top:0;color:var(--muted);font-weight:500;vertical-align:bottom}
th:first-child,td:first-child{text-align:left}
tbody tr>:first-child,thead tr:first-child>:first-child{position:sticky;left:0;background:var(--card)}
tbody tr:last-child>*{border-bottom:0}
tr.mean>*{font-weight:600;border-top:2px solid var(--line)}
thead tr:nth-child(2) th:first-child{text-align:right}
tbody th{font-weight:400}
.pm{color:var(--muted);font-weight:400}
.up{color:var(--good);font-weight:600}.down{color:var(--bad);font-weight:600}
.dot{display:inline-block;width:10px;height:10px;border-radius:50%;background:var(--own);margin-right:8px}
details{border:1px solid var(--line);border-radius:10px;background:var(--card);margin:8px 0}
summary{cursor:pointer;padding:10px 16px;font-size:14px}
summary .mono{color:var(--muted)}
details>div,details>pre{padding:2px 16px 14px;margin:0}
details details{margin:8px 0;background:var(--soft)}
pre{white-space:pre-wrap;overflow-wrap:anywhere;line-height:1.45}
.sample dl{display:grid;grid-template-columns:92px 1fr;gap:8px 14px;font-size:14px;margin:4px 0}
.sample dt{color:var(--muted)}
.sample dd{margin:0;overflow-wrap:anywhere}
.sample dd pre{font-size:12.5px}
mark{background:none;color:var(--good);font-weight:600}
.masks{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:22px;align-items:start}
.mask-set h3{margin-top:0}
.mask-set{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px;margin:16px 0}
.mask-set svg{display:block;width:100%;height:auto;background:var(--paper);border-radius:6px}
.heads{display:grid;grid-template-columns:repeat(auto-fill,minmax(82px,1fr));gap:10px;margin:0;padding:0;list-style:none}
.heads span{white-space:nowrap}
.heads button{padding:5px;width:100%;display:block;text-align:left;font-size:12px;color:var(--muted)}
.heads button[aria-pressed=true]{border-color:var(--accent);box-shadow:0 0 0 1px var(--accent);color:var(--ink)}
.controls{display:flex;gap:12px;align-items:center;flex-wrap:wrap;margin:0 0 14px;font-size:14px}
.causal{fill:var(--causal)}.tiles{fill:var(--tile)}
.blocks,.anchor{fill:none;vector-effect:non-scaling-stroke;stroke-width:1.5}
.blocks{stroke:var(--block)}.anchor{stroke:var(--anchor);stroke-dasharray:5 3}
.heads .blocks,.heads .anchor{stroke-width:.8}
.key{display:flex;gap:18px;flex-wrap:wrap;font-size:13px;color:var(--muted);margin-top:12px}
.key i{display:inline-block;width:14px;height:14px;border-radius:3px;margin-right:6px;vertical-align:-2px}
#tip{position:fixed;z-index:9;pointer-events:none;background:var(--ink);color:var(--paper);font-size:12.5px;
  line-height:1.4;padding:7px 11px;border-radius:8px;white-space:pre;box-shadow:0 4px 18px rgb(0 0 0/.25);
  max-width:min(420px,92vw)}
#tip[hidden]{display:none}
.needs-script{display:none}
.has-script .needs-script{display:revert}
footer{margin-top:60px;color:var(--muted);font-size:13px;border-top:1px solid var(--line);padding-top:16px}
@media (max-width:640px){
  .page{padding:0 14px 60px} header{padding-top:28px} h1{font-size:26px} h2{margin-top:42px}
  .masks{grid-template-columns:1fr} .chart{padding:8px} .chart svg{min-width:460px;max-width:620px}
  .bar{position:static} .sample dl{grid-template-columns:1fr;gap:2px}
}
@media print{
  :root,:root[data-theme=dark]{color-scheme:light;${LIGHT}}
  .bar,.needs-script,#tip{display:none!important} .page{max-width:none;padding:0}
  figure,.mask-set,.cards li,tr{break-inside:avoid} h2,h3{break-after:avoid}
  .chart,.table,details{border-color:#ccc} body{font-size:11pt}
}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
`;
