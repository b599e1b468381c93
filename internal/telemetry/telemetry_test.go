package telemetry

import (
	"testing"

	"go.opentelemetry.io/otel/attribute"
)

func TestLabels_AreTheModeAndOneMore(t *testing.T) {
	none, key := attribute.KeyValue{}, keyAttr.String("order")
	for _, tt := range []struct {
		labels labels
		key    attribute.KeyValue
		want   string
	}{
		{labels{}, none, ""},
		{labels{mode: "shared"}, none, "redlock.mode=shared"},
		{labels{"shared", errorType, ""}, none, "redlock.mode=shared"},
		{labels{"limit", errorType, "held"}, none, "error.type=held,redlock.mode=limit"},
		{labels{attr: verdictAttr, value: "late"}, none, "redlock.verdict=late"},
		{labels{"exclusive", endAttr, "lost"}, key, "redlock.end=lost,redlock.key=order,redlock.mode=exclusive"},
	} {
		set := tt.labels.set(tt.key)
		if got := set.Encoded(attribute.DefaultEncoder()); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.labels, got, tt.want)
		}
	}
}

// What is reported of each lock must cost it little.
func TestLabels_AreFoundWithoutAllocating(t *testing.T) {
	off := &Telemetry{}
	if n := testing.AllocsPerRun(1000, func() { off.with("order:42", labels{"exclusive", endAttr, "released"}) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	on := &Telemetry{key: func(string) string { return "order" }}
	bare := testing.AllocsPerRun(1000, func() { on.with("order:42", labels{attr: endAttr, value: "released"}) })
	if n := testing.AllocsPerRun(1000, func() { on.with("order:42", labels{"exclusive", endAttr, "released"}) }); n > bare {
		t.Errorf("%v allocations with a key and a mode, %v with a key", n, bare)
	}
}
