package ports

import "testing"

func TestTake_GivesAPortOnceUntilItIsGivenBack(t *testing.T) {
	defer func(l, c int) { lowest, count = l, c }(lowest, count)
	l, first, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	l.Close() // like a stopped node
	lowest, count = first, 1
	if _, port, err := Take(); err == nil {
		t.Fatalf("port %d was assigned twice", port)
	}
	Keep(first)
	Give(first)
	if _, port, err := Take(); err == nil {
		t.Fatalf("port %d was assigned although only one of two users had released it", port)
	}
	Give(first)
	again, port, err := Take()
	if err != nil || port != first {
		t.Fatalf("Take = %d, %v, want %d, which was released", port, err, first)
	}
	defer Give(port)
	defer again.Close()
}
