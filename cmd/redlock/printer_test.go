package main

import (
	"slices"
	"testing"
)

func TestPrinter_WrapBreaksBetweenWords(t *testing.T) {
	got := wrap("node 2 is stopped: connections to it break. 4 of 5 nodes are left", 24)
	want := []string{"node 2 is stopped:", "connections to it break.", "4 of 5 nodes are left"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got := wrap("as it is, whatever its length", -19); len(got) != 1 {
		t.Errorf("without a terminal: %q", got)
	}
}
