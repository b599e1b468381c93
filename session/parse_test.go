package session

import (
	"strings"
	"testing"
	"time"

	"github.com/venta-hq/redlock/internal/test/harness"
)

// Impossible values of one node are not written to the others.
func TestRecord_ImpossibleValuesOfANodeAreNotSpread(t *testing.T) {
	t.Parallel()
	s := store(t, harness.Embedded(t, 3), Config{})
	huge := strings.Repeat("9", timeWidth) + strings.Repeat("f", versionWidth-timeWidth)
	for _, made := range [][]any{
		{"newer", huge}, {"newer", huge + "0"}, {"newer", "x"}, {"newer", 7}, {"newer"},
		{"ok", huge[:timeWidth], ""}, {"ok", "never", ""}, {"ok", "", "epoch:ann"},
	} {
		var c count
		if err := c.take(reply{status: made[0].(string), rest: made[1:]}); err == nil {
			t.Errorf("%.60v was accepted: %+v", made, c)
		}
	}
	ann := make([]any, 2*maxListed)
	for i := 0; i < len(ann); i += 2 {
		ann[i], ann[i+1] = newID(), []any{}
	}
	for _, made := range [][]any{
		{"", []any{}, stamp(7)}, {"", ann, huge[:timeWidth]}, {"", ann, stamp(5)}, {"", ann[1:], ""}, {"", []any{}}, {"", "", ""},
	} {
		l := &listing{s: s, from: stamp(6), most: maxListed, found: map[string][]answer{}}
		if err := l.take(reply{node: s.c.Nodes()[0], status: "ok", rest: made}); err == nil {
			t.Errorf("a list that ends with %.60v was accepted", made[len(made)-1])
		}
	}
	if v := s.clock.after(huge); len(v) != versionWidth {
		t.Errorf("a version of %d", len(v))
	}
	if _, err := parseRecord([]any{"h", huge + huge[:timeWidth] + huge + huge[:timeWidth] + huge[:timeWidth]}, huge, time.Now(), nil); err == nil {
		t.Error("a record of the year 2286 was accepted")
	}
}
