package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/venta-hq/redlock/internal/test/harness"
	"github.com/venta-hq/redlock/lock"
)

// scene is some locks of every mode, one of which others wait for.
func (r *rig) scene() {
	r.Helper()
	for key, owner := range map[string]string{"order:42": "nightly report", "order:43": "billing", "invoice:2026-11": "invoices", "election:scheduler": "vm-7"} {
		r.hold(r.locker, key, lock.Owner(owner))
	}
	for _, owner := range []string{"storefront", "search"} {
		r.hold(r.process(owner), "catalog", lock.Shared())
	}
	for _, owner := range []string{"train", "train", "render"} {
		r.hold(r.locker, "gpu", lock.Limit(4), lock.Owner(owner))
	}
	_, err := r.hold(r.locker, "import", lock.Owner("feed"), lock.TTL(time.Minute)).Detach(r.Context())
	r.must(err)
	for range 2 {
		k := r.process("waiter")
		waits, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			if l, err := k.Lock(waits, "order:42"); err == nil {
				_ = l.Release(context.Background())
			}
		}()
		r.Cleanup(func() { stop(); <-done })
	}
}

// lengthen has a key that nobody renews outlast a test on a slow machine.
func (r *rig) lengthen(key string) {
	r.Helper()
	for i := range r.nodes.Len() {
		r.must(harness.Client(r.T, r.nodes, i).PExpire(r.Context(), "lock:"+key, time.Hour).Err())
	}
}

// views are the pages that are looked at, and what they show once they are
// complete.
var views = []struct {
	name, path string
	shows      []string
}{
	{"locks", "", []string{"Locks work", "2 processes wait", "7 locks"}},
	{"filtered", "?mode=shared", []string{"Locks work", "1 lock of 7", "storefront, search"}},
	{"lock", "lock?key=order:42", []string{"Held by nightly report", "1 min", "Take the lock away"}},
	{"shared", "lock?key=catalog", []string{"Shared by 2 readers", "storefront ("}},
	{"limit", "lock?key=gpu", []string{"Held in 3 of 4 slots", "render ("}},
	{"detached", "lock?key=import", []string{"Detached by feed", "kept for the process that attaches it"}},
	{"nodes", "nodes", []string{"Locks work", "note"}},
	{"jobs", "jobs", []string{"vm-7"}},
}

// TestBrowser_EveryPageIsAccessible opens each page, wide and narrow, light and
// dark, and looks at what a screen reader and an eye get.
func TestBrowser_EveryPageIsAccessible(t *testing.T) {
	r := newRig(t, "ann")
	r.scene()
	r.lengthen("import")
	for _, v := range views {
		for _, width := range []int64{360, 1440} {
			for _, scheme := range []string{"light", "dark"} {
				name := fmt.Sprintf("%s-%d-%s", v.name, width, scheme)
				r.size(width, scheme)
				if v.name == "lock" {
					r.visitForm(v.path)
				} else {
					r.visit(v.path)
				}
				r.sees(append([]string{"Live"}, v.shows[:1]...)...)
				r.waitFor(v.shows)
				r.fits()
				r.contrast(name)
				r.roles(name, v.name)
				r.photograph(name, true)
			}
		}
	}
	r.clean()
}

// waitFor waits for the rest of what a page shows; times differ.
func (r *rig) waitFor(shows []string) {
	r.Helper()
	for _, text := range shows[1:] {
		if text != "1 min" {
			r.sees(text)
		}
	}
}

// contrast fails if a text has less contrast to its ground than WCAG AA asks
// for: 4.5, or 3 for large text.
func (r *rig) contrast(name string) {
	r.Helper()
	for _, weak := range eval[[]string](r, contrastScript) {
		r.Errorf("%s: %s", name, weak)
	}
	if n := eval[int](r, `document.querySelectorAll("main *").length`); n < 20 {
		r.Errorf("%s: %d elements, so nothing was looked at", name, n)
	}
}

const contrastScript = `(() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgba = color => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const d = canvas.getImageData(0, 0, 1, 1).data;
    return [d[0], d[1], d[2], d[3] / 255];
  };
  const over = (top, ground) => [0, 1, 2].map(i => top[i] * top[3] + ground[i] * (1 - top[3]));
  const luminance = c => [0.2126, 0.7152, 0.0722].reduce((sum, weight, i) => {
    const v = c[i] / 255;
    return sum + weight * (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  }, 0);
  const ground = e => {
    if (!e) return [255, 255, 255];
    const color = rgba(getComputedStyle(e).backgroundColor);
    return color[3] === 1 ? color.slice(0, 3) : over(color, ground(e.parentElement));
  };
  const weak = [];
  for (const e of document.querySelectorAll("body *")) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) || e.tagName === "INPUT" || e.tagName === "SELECT";
    if (!own || !e.checkVisibility() || e.closest(".skip") || e.closest("thead") && innerWidth < 960) continue;
    const style = getComputedStyle(e);
    const behind = ground(e);
    const [a, b] = [luminance(over(rgba(style.color), behind)), luminance(behind)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
    if (ratio < (large ? 3 : 4.5)) weak.push(e.tagName + "." + e.className + " " + JSON.stringify(e.textContent.trim().slice(0, 40)) + ": contrast " + ratio.toFixed(2));
  }
  return weak;
})()`

// roles fails unless a screen reader finds the page's landmarks, one heading of
// level 1, and tables with headings, and a name for everything that can be
// operated.
func (r *rig) roles(name, view string) {
	r.Helper()
	tree := run(r, func(ctx context.Context, t *chromedp.Target) (accessibility.GetFullAXTreeResult, error) {
		return cdp.Call(ctx, t, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	})
	found := map[string]int{}
	for _, n := range tree.Nodes {
		if n.Ignored {
			continue
		}
		role := textOf(n.Role)
		found[role]++
		if operable := []string{"link", "button", "textbox", "combobox", "radio", "table", "navigation", "image", "region", "search"}; slices.Contains(operable, role) && textOf(n.Name) == "" {
			r.Errorf("%s: a %s without a name", name, role)
		}
	}
	for _, role := range []string{"main", "banner", "navigation", "status", "table", "rowgroup", "row", "columnheader", "rowheader", "cell", "heading"} {
		if found[role] == 0 {
			r.Errorf("%s: no %s; there is %v", name, role, found)
		}
	}
	if n := eval[int](r, `document.querySelectorAll("h1").length`); n != 1 {
		r.Errorf("%s: %d headings of level 1", name, n)
	}
	if biggest := eval[string](r, `[...document.querySelectorAll("main *")].filter(e => e.checkVisibility()).reduce((a, b) => parseFloat(getComputedStyle(a).fontSize) >= parseFloat(getComputedStyle(b).fontSize) ? a : b).tagName`); biggest != "H1" {
		r.Errorf("%s: the largest text is of %s", name, biggest)
	}
	if (view == "locks" || view == "filtered") && found["combobox"] != 1 {
		r.Errorf("%s: %d lists to choose from; there is %v", name, found["combobox"], found)
	}
	if view == "lock" && found["textbox"] != 2 {
		r.Errorf("%s: %d text boxes", name, found["textbox"])
	}
}

func textOf(v *accessibility.Value) string {
	if v == nil {
		return ""
	}
	var text string
	_ = json.Unmarshal(v.Value, &text) // a value that is no text is no name
	return text
}

// The keyboard reaches everything in the order in which it is read, and shows
// where it is.
func TestBrowser_TheKeyboardReachesEverythingInOrder(t *testing.T) {
	r := newRig(t, "ann")
	r.scene()
	r.lengthen("import")
	r.visit("")
	r.sees("Live", "7 locks", "2 processes wait")
	var order []string
	for range 60 {
		r.do(chromedp.KeyEvent(kb.Tab))
		at := eval[string](r, `(() => {
			const e = document.activeElement;
			if (e === document.body) return "";
			const name = e.closest("label")?.firstChild.textContent.trim() || e.textContent.trim();
			const seen = getComputedStyle(e).outlineStyle !== "none" && parseFloat(getComputedStyle(e).outlineWidth) >= 2;
			return name + (seen ? "" : " (its focus is not shown)");
		})()`)
		if at == "" || len(order) > 0 && at == order[0] {
			break
		}
		order = append(order, at)
	}
	want := "Skip to the content, redlock, Locks, Nodes, Elections and jobs, Pause, Key begins with, Held longer than, Mode, Apply, " +
		"Key, Mode, Holder, Held for, Time left, Waiting, order:42"
	got := strings.Join(order, ", ")
	if !strings.HasPrefix(got, want) {
		t.Errorf("the focus goes to %s\nwant %s", got, want)
	}
	r.clean()
}

// TestBrowser_Screenshots writes the pictures of docs/web.md, if pictures are asked
// for.
func TestBrowser_Screenshots(t *testing.T) {
	if os.Getenv("REDLOCK_TEST_SCREENSHOTS") == "" {
		t.Skip("REDLOCK_TEST_SCREENSHOTS is not set")
	}
	r := newRig(t, "")
	r.scene()
	r.size(360, "light")
	r.visit("?mode=limit")
	r.sees("All 5 nodes are up", "1 lock of 7", "3 of 4 slots")
	r.photograph("web-narrow", true)
	r.nodes.Pause(1)
	r.size(1440, "light")
	r.visit("")
	u, err := url.Parse(r.nodes.URLs()[1])
	r.must(err)
	r.sees("1 of 5 nodes down", u.Host+" has not answered for", "7 locks", "2 processes wait")
	harness.Eventually(t, "a listing without the node", func() bool { return eval[bool](r, `document.querySelector(".dots .silent") !== null`) })
	r.photograph("web", false)
	r.nodes.Stop(2)
	r.nodes.Stop(3)
	r.visit("")
	r.sees("No lock can be acquired", "Partial")
	r.photograph("web-outage", true)
}
