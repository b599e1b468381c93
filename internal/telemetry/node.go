package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Node reports the events of one node.
type Node struct {
	t    *Telemetry
	name attribute.KeyValue
	set  metric.MeasurementOption
}

// Node returns the Node of the node with this name.
func (t *Telemetry) Node(name string) *Node {
	if t == nil || !t.metrics {
		return nil
	}
	kv := attribute.String(NodeAttr, name)
	return &Node{t, kv, metric.WithAttributeSet(attribute.NewSet(kv))}
}

// Now is like [Telemetry.Now].
func (n *Node) Now() time.Time {
	if n == nil {
		return time.Time{}
	}
	return time.Now()
}

// Answered reports how long a node took to answer.
func (n *Node) Answered(began time.Time) {
	if n != nil {
		n.t.hist[nodeLatency].Record(context.Background(), since(began), n.set)
	}
}

// Failed reports that a node refused a command or did not answer it, with an
// error of this class.
func (n *Node) Failed(class string) {
	if n != nil {
		set := attribute.NewSet(n.name, errorType.String(class))
		n.t.counts[nodeErrors].Add(context.Background(), 1, metric.WithAttributeSet(set))
	}
}

// Tripped reports that a node went down.
func (n *Node) Tripped() {
	if n != nil {
		n.t.counts[nodeTrips].Add(context.Background(), 1, n.set)
	}
}

// Restarted reports that a node restarted and may have lost locks.
func (n *Node) Restarted() {
	if n != nil {
		n.t.counts[nodeRestarts].Add(context.Background(), 1, n.set)
	}
}
