"""What next: SMAA-2 ranking, labels and waves."""
