package telemetry

import (
	"testing"

	"go.opentelemetry.io/otel/attribute"
)

func TestLabels_AreTheModeAndOneMore(t *testing.T) {
	key := keyAttr.String("order")
	for _, tt := range []struct {
		labels labels
		more   []attribute.KeyValue
		want   string
	}{
		{labels{}, nil, ""},
		{labels{mode: "shared"}, nil, "redlock.mode=shared"},
		{labels{"shared", errorType, ""}, nil, "redlock.mode=shared"},
		{labels{"limit", errorType, "held"}, nil, "error.type=held,redlock.mode=limit"},
		{labels{attr: verdictAttr, value: "late"}, nil, "redlock.verdict=late"},
		{labels{"exclusive", endAttr, "lost"}, []attribute.KeyValue{key}, "redlock.end=lost,redlock.key=order,redlock.mode=exclusive"},
	} {
		set := tt.labels.set(tt.more...)
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
}
