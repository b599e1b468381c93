package main

import (
	"slices"
	"testing"
	"time"
)

func TestFormat_DurationsAreReadable(t *testing.T) {
	got := []string{brief(1234567 * time.Nanosecond), brief(12345678 * time.Nanosecond), brief(1234567890 * time.Nanosecond)}
	want := []string{"1.23ms", "12ms", "1.23s"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFormat_SpansAreReadable(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0.0s", 1234 * time.Millisecond: "1.2s", 42 * time.Second: "42s", 61 * time.Second: "1m01s", 2*time.Hour + 5*time.Minute: "2h05m",
		75 * time.Hour: "3d03h", -3 * time.Second: "-3.0s",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %s, want %s", d, got, want)
		}
	}
}

func TestQuantile_TakesTheSampleAtThatRank(t *testing.T) {
	all := make([]time.Duration, 100)
	for i := range all {
		all[i] = time.Duration(i)
	}
	if a, b, c := quantile(all, 0.5), quantile(all, 0.99), quantile(all[:1], 0.99); a != 50 || b != 99 || c != 0 {
		t.Error(a, b, c)
	}
}
