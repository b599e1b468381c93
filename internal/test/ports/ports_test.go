package ports

import "testing"

func TestTake_GivesAPortOnceUntilItIsGivenBack(t *testing.T) {
	defer func(l, c int) { lowest, count = l, c }(lowest, count)
	l, first, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // as of a node that is stopped
	lowest, count = first, 1
	if _, port, err := Take(); err == nil {
		t.Fatalf("port %d was given out twice", port)
	}
	Keep(first)
	Give(first)
	if _, port, err := Take(); err == nil {
		t.Fatalf("port %d was given out, and one of two gave it back", port)
	}
	Give(first)
	again, port, err := Take()
	if err != nil || port != first {
		t.Fatalf("Take = %d, %v, want %d, which was given back", port, err, first)
	}
	defer Give(port)
	defer again.Close()
}
