package main

import (
	"strings"
	"testing"
)

func TestTable_IsAligned(t *testing.T) {
	var out strings.Builder
	table(&out, []string{"KEY", ">N"}, [][]string{{"ключ", "1"}, {"k", "123"}})
	if want := "KEY     N\nключ    1\nk     123\n"; out.String() != want {
		t.Errorf("got\n%s", out.String())
	}
}
