//go:build !linux

package machine

func used() usage { return usage{} }
