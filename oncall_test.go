package redlock_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/venta-hq/redlock/internal/nodeset"
	"github.com/venta-hq/redlock/internal/test/harness"
)

var (
	alertName  = regexp.MustCompile(`(?m)^  - alert: (\w+)$`)
	runbookURL = regexp.MustCompile(`(?m)^      runbook_url: https://github\.com/venta-hq/redlock/blob/main/docs/oncall\.md#(\S+)$`)
)

// Each alert has a section of docs/oncall.md, to which its runbook_url leads, and
// each section that is named like an alert has one.
func TestOnCall_EveryAlertHasItsSection(t *testing.T) {
	rules, page := harness.ReadFile(t, "docs/alerts/redlock.rules.yml"), harness.ReadFile(t, "docs/oncall.md")
	sections := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(page, -1) {
		if strings.HasPrefix(m[1], "Redlock") {
			sections[m[1]] = true
		}
	}
	alerts := strings.Split(rules, "  - alert: ")[1:]
	if len(alerts) < 10 || len(alerts) != len(alertName.FindAllString(rules, -1)) {
		t.Fatalf("there are %d alerts", len(alerts))
	}
	for _, text := range alerts {
		name, _, _ := strings.Cut(text, "\n")
		if !sections[name] {
			t.Errorf("docs/oncall.md has no section %q", name)
		}
		delete(sections, name)
		if m := runbookURL.FindStringSubmatch(text); m == nil || m[1] != strings.ToLower(name) {
			t.Errorf("the runbook_url of %s leads elsewhere: %q", name, m)
		}
	}
	for name := range sections {
		t.Errorf("docs/oncall.md has a section %q, and there is no such alert", name)
	}
}

// Every finding of redlock doctor names a section that is there.
func TestOnCall_HasTheRunbookOfEveryFinding(t *testing.T) {
	found := anchors(harness.ReadFile(t, "docs/oncall.md"))
	for _, r := range nodeset.Runbooks {
		if !found[string(r)] {
			t.Errorf("docs/oncall.md has no heading with the anchor #%s", r)
		}
	}
}
