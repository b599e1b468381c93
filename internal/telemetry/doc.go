// Package telemetry reports what happens to the metrics and traces of OpenTelemetry. It knows their API only; what becomes
// of them is up to the providers that the program chose.
//
// A nil *Telemetry, *Node or *Span reports nothing: every method begins with that question, and so a program without
// providers pays for a comparison. What is only known by counting is counted by whoever counts it anyway, and read when the
// metrics are collected.
//
// The providers are code of others. Nothing here may be called with a mutex held that code under collection needs.
package telemetry
