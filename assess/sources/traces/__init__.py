"""Who calls whom: Jaeger, Zipkin, Prometheus."""
