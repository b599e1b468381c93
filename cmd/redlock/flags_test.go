package main

import (
	"slices"
	"testing"
)

func TestNodesFlag_SplitsAtCommasAndWhiteSpace(t *testing.T) {
	got := splitURLs(" redis://a:1,redis://b:2, redis://c:3\n\tredis://d:4 ,")
	want := []string{"redis://a:1", "redis://b:2", "redis://c:3", "redis://d:4"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
