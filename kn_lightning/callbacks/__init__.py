"""Lightning glue of the stages behind attribution: refine, edit, write."""
